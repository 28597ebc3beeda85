"""The names of py-volley, each in the module that py-volley has it in."""
