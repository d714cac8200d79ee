"""Clean-up: a plan first, then exactly that plan, then a second look.

Only what carries our label and belongs to a checkout that git confirms is gone, or that the user names, may go.
"""
