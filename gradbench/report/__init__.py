"""Reports of records: terminal, Markdown, HTML, figures. Imports records and statistics only."""
