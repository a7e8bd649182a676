"""What learns from the topics: online, pure, per pool one forecaster of all channels and one learner of packaging cost."""
