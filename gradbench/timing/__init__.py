"""The cost of an optimizer's step, and its comparison with an older version's."""
