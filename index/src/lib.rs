//! An index beside each capture file, which says which flows are where in it.
