"""The inferencer as a web page and a JSON interface."""
