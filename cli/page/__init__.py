"""A run as one HTML page that needs nothing beside itself: facts gathered, sounds made small, sections written."""
