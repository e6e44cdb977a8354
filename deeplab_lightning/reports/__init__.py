"""From finished runs to what people read: tables beside the papers, charts, pages."""
