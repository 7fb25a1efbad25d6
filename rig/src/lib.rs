//! Real servers and publishers for tests and the demo.
