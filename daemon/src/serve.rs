//! The daemon's composition: which parts there are, what each of them is given, and in which order they start and end.
