"""The state of the service: data stores, image sets, versions, jobs, quotas."""
