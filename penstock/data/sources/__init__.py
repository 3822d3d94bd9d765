"""Where rows come from: addresses, files, text, and what every reader of them must do."""
