"""What the admin pages of every app are made of: rights, confirmation pages with a motivo, lists that stay fast."""
