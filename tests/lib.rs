//! Whole-program tests: golden numbers, the language suite, tidiness. The tests are the `*.rs` files beside this one.
