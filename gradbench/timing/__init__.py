"""What an optimizer's step costs, and whether it is slower than an older version's."""
