"""The cases, one module per area. How to write one: docs/write-a-case.md."""
