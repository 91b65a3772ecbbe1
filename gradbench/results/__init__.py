"""The record of a case and an optimizer: schema, validation, run folders, and reading runs back."""
