"""Stage archives: weekly archives of the USPTO, from the portal, a mirror or a folder."""
