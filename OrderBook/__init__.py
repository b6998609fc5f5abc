"""The OrderBook is the sequencer: every record gets one place in one order, published in shared memory."""
