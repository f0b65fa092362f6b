"""Reference teachers: policies of the semantic view, made with every privilege."""
