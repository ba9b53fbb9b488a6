//! What people see: the printer, progress, tables and diagnostics.
