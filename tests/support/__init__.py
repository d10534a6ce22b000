"""What the tests share: servers, faults between them and the provider, and the soak test."""
