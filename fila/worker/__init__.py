"""The fila's own consumer: a long-lived process that drains continuously."""
