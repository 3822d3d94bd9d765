"""Files for a project's repository: workflows of a CI system, an entry in Backstage."""
