"""Two workers around the table; which classes serve it, the configuration says."""

from functions import add_row, print_row

from penstock import Engine

adding = Engine("input_queue", ["postgres_queue"], app_name="adding", yaml_config_path="my_plugin.yml")
adding.stream_app(add_row)

printing = Engine("postgres_queue", app_name="printing", yaml_config_path="my_plugin.yml")
printing.stream_app(print_row)
