"""Reference teachers: experts made with every privilege, distilled into policies of the semantic view."""
