"""What a run was asked, what it did and what is proved of it, as one page: HTML by itself, or Markdown."""
