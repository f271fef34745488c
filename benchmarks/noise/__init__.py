"""What each strategy of DHPC does against label noise, on generated catalogues."""
