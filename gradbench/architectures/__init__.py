"""From a spec to a network that replaces a case's own; a gallery of networks."""
