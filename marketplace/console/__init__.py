"""Pages of the service, made on the server: HTML and SVG, no script, nothing loaded from elsewhere."""
