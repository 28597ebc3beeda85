"""The fixture `beanstalkd_server`: a real beanstalkd. It comes from the repository in which this package is kept."""

pytest_plugins = ["tests.servers.beanstalkd"]
