//! Load, open loop, with histograms that do not lie about stalls.
