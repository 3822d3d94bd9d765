"""Files for a project's repository: workflows of a CI system, and its entry in Backstage's catalogue."""
