"""What things cost, one file per question; each prints figures of one run on one machine."""
