"""What this machine serves over the network: certificate, credentials, signed links, the server itself."""
