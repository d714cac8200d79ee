"""Native processes of an instance: started, recorded, found again, stopped as whole trees."""
