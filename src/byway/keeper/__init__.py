"""The keeper: what needs privileges, so that programs need none."""
