"""What reigns where and when: targets, their times and their weather, as values."""
