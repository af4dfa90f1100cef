"""Who answers what the database would: our own tests' histories and oracle, played on others, too."""
