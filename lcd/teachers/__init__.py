"""Reference teachers: policies of the semantic view, trained with privileged information."""
