"""What learns from the topics: online, pure, one forecaster per channel and one learner of packaging cost per pool."""
