"""learn: from joined rewards to new versions of policies and models."""
