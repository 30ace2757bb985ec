//! Files of every venue with every known fault, and what becomes of them.
