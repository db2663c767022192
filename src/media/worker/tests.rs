//! Tests of the packet machine.
