"""What the service holds: data stores, image sets, versions, jobs, quotas."""
