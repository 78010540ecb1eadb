"""The small model that comes with the nodes: trained, put together and measured."""
