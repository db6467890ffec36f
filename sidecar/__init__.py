"""The process of a node: it turns active versions into sealed shared memory and hands it out."""
