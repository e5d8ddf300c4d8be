//! The rules that judge one record.
