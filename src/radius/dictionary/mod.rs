//! Dictionaries in the FreeRADIUS text format. To be written.
