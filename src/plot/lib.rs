//! Figures as data.
