//! The kernel takes the programs that we emit, and gives their verdicts.
