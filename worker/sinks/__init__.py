"""The ways out for events. A new one is a file beside these, a section in the settings, and an arm where `bootstrap` makes them."""
